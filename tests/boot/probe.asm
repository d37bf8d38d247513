bits 16
org 0x7c00
start:
 cli
 cld
 xor eax, eax
 mov ds, ax
 mov es, ax
 mov ss, ax
 mov sp, 0x7c00
 mov di, 0x1000        ; page tables 0x1000-0x3fff, interrupt table 0x4000-0x4fff
 mov cx, 0x1000
 rep stosd
 mov word [0x1000], 0x2003
 mov word [0x2000], 0x3003
 mov word [0x3000], 0x0083
 mov word [0x4200], tick   ; gate of vector 0x20
 mov word [0x4202], 8
 mov word [0x4204], 0x8e00
 in al, 0x92
 or al, 2
 out 0x92, al
 lgdt [gdtr]
 mov eax, cr0
 or al, 1
 mov cr0, eax
 jmp dword 16:protected_mode
bits 32
protected_mode:
 mov ecx, 0x2000000
 loop $
 mov eax, cr4
 or al, 0x20
 mov cr4, eax
 mov eax, 0x1000
 mov cr3, eax
 mov ecx, 0xc0000080
 rdmsr
 or ah, 1
 wrmsr
 mov eax, cr0
 or eax, 0x80000000
 mov cr0, eax
 jmp 8:long_mode
bits 64
long_mode:
 lidt [idtr]
 mov al, 0x11
 out 0x20, al
 mov al, 0x20
 out 0x21, al
 mov al, 4
 out 0x21, al
 mov al, 1
 out 0x21, al
 mov al, 0xfe
 out 0x21, al
 xor ebx, ebx
.wait:
 sti
 hlt
 cmp ebx, 3
 jb .wait
 cli
 mov esi, text
.next:
 lodsb
 test al, al
 jz .end
 mov ah, al
 mov dx, 0x3fd
.busy:
 in al, dx
 test al, 0x20
 jz .busy
 mov al, ah
 mov dx, 0x3f8
 out dx, al
 jmp .next
.end:
 hlt
 jmp .end
tick:
 push rax
 inc ebx
 mov al, 0x20
 out 0x20, al
 pop rax
 iretq
align 8
gdt: dq 0, 0x00209a0000000000, 0x00cf9a000000ffff
gdtr: dw 23
 dd gdt
idtr: dw 0xfff
 dq 0x4000
text: db 13,10,"aliyun-import: this machine runs guests",13,10,0
