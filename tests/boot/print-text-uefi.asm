bits 64
 sub rsp, 40
 mov rcx, [rdx+64]
 lea rdx, [rel text]
 call [rcx+8]
end:
 hlt
 jmp end
text:
