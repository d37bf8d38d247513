/* UEFI program for arm64; x1 is the system table. */
_start:
  adr x20, text
  ldr x0, [x1, #64]        // ConOut
  ldr x8, [x0, #8]         // OutputString
  mov x1, x20
  blr x8
1: wfi
  b 1b
  .balign 4
text:
