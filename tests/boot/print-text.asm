bits 16
org 0x7c00
 xor ax, ax
 mov ds, ax
 mov es, ax
 mov ss, ax
 mov sp, 0x7c00
 mov ax, 0x0301         ; write the boot record to the second sector
 mov bx, 0x7c00
 mov cx, 0x0002
 mov dh, 0
 int 0x13
 jc end
 mov si, text
next:
 lodsb
 test al, al
 jz end
 mov ah, al
 mov dx, 0x3fd
busy:
 in al, dx
 test al, 0x20
 jz busy
 mov al, ah
 mov dx, 0x3f8
 out dx, al
 jmp next
end:
 hlt
 jmp end
text:
