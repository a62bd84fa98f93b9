# A guest whose memory proves itself: real mode, PC BIOS, 1 MiB of RAM, the disk that it was booted from.
#
# It counts in RAM. Each beat, about nine times a second:
#   1. the chain of numbers that the last beat left in 64 pages of RAM is checked: one stale page shows
#      (`chain bad`), and so is the record on the disk: a disk of another time shows (`disk bad`)
#   2. the count goes up by one, the chain is written anew, the record goes to the disk and is read back
#   3. `count N disk M` goes to com1: N from RAM, M from the disk
#   4. it sleeps (hlt) until the second tick of the BIOS clock (55 ms each)
# The first line after power-on or reset is `boot B disk M`: for the B-th time from this disk, on which M was found.
# image.py assembles it, knows the record's layout and explains the lines.
        .intel_syntax noprefix
        .code16

        .set RECORD_SECTOR, 8
        .set MAGIC, 0x54504b43          # "CKPT"
        .set SALT, 0x5eed1e55
        .set BUFFER, 0xa000             # the record as written and as read
        .set PAGES, 64
        .set FIRST_PAGE, 0x2000         # segment; pages are 0x100 segments apart
        .set STACK, 0x7c00
        .set COM1, 0x3f8
        .set TICKS, 0x46c               # BIOS data area: a dword that goes up with every tick
        .set PM1_STATUS, 0x600          # where SeaBIOS puts the ACPI registers of QEMU's pc and q35
        .set PM1_ENABLE, 0x602
        .set PM1_CONTROL, 0x604

        .globl start
start:  ljmp 0, offset enter
        .org 8
        .globl button
button: .byte 0                         # image.py sets it to 1: obey the power button
drive:  .byte 0                         # in this sector, or reading the rest would overwrite it
enter:  cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, STACK
        sti
        cld
        mov [drive], dl
        mov si, offset rest
        mov ah, 0x42                    # extended read: the sectors after this one
        int 0x13
        jc stuck
        jmp main
stuck:  hlt
        jmp stuck

        .balign 4
rest:   .byte 16, 0                     # a disk address packet
        .word SECTORS
        .word 0x7e00, 0
        .quad 1

        .org 510
        .word 0xaa55

main:   mov dx, COM1 + 1
        xor al, al
        out dx, al                      # no interrupts
        mov dx, COM1 + 3
        mov al, 0x80
        out dx, al
        mov dx, COM1
        mov ax, 1                       # 115200 baud, as a word into both halves of the divisor
        out dx, al
        inc dx
        mov al, ah
        out dx, al
        mov dx, COM1 + 3
        mov al, 3                       # 8n1
        out dx, al

        cmp byte ptr [button], 0
        je 1f
        mov dx, PM1_ENABLE
        mov ax, 0x100
        out dx, ax
1:
        mov dword ptr [boots], 0
        mov dword ptr [disk_count], 0
        call read_record
        jc 1f                           # a new disk has none
        mov eax, [disk_boots]
        mov [boots], eax
1:      inc dword ptr [boots]
        mov dword ptr [count], 0
        call write_chain
        mov si, offset text_boot
        call say
        mov eax, [boots]
        call number
        call disk_count_line
        call write_record

beat:   call check_chain
        call read_record
        jc disk_bad
        mov eax, [disk_boots]
        cmp eax, [boots]
        jne disk_bad
        mov eax, [disk_count]
        cmp eax, [count]
        jne disk_bad

        inc dword ptr [count]
        call write_chain
        call write_record
        call read_record
        jc disk_bad
        mov si, offset text_count
        call say
        mov eax, [count]
        call number
        call disk_count_line

        mov cx, 2
wait:   mov eax, [TICKS]
1:      hlt
        call obey_button
        cmp eax, [TICKS]
        je 1b
        loop wait
        jmp beat

disk_bad:
        mov si, offset text_disk_bad
        call say
        mov eax, [count]
        call number
        call disk_count_line
        jmp stuck

# ---- the chain ------------------------------------------------------------------------------------------------------
# EAX for the first page is the count, for each page a full-period step from the one before: never the same for two counts.
step:   imul eax, eax, 1664525
        add eax, 1013904223
        ret

write_chain:
        mov eax, [count]
        mov cx, PAGES
        mov bx, FIRST_PAGE
1:      call step
        mov es, bx
        mov es:[0xff0], eax
        add bx, 0x100
        loop 1b
        push ds
        pop es
        ret

check_chain:
        mov eax, [count]
        mov cx, PAGES
        mov bx, FIRST_PAGE
1:      call step
        mov es, bx
        cmp es:[0xff0], eax
        jne 2f
        add bx, 0x100
        loop 1b
        push ds
        pop es
        ret
2:      push ds
        pop es
        mov si, offset text_chain_bad
        call say
        mov eax, [count]
        call number
        mov si, offset text_end
        call say
        jmp stuck

# ---- the record: magic, boots, count, checksum of the three ---------------------------------------------------------
checksum:
        mov eax, [BUFFER]
        rol eax, 5
        xor eax, [BUFFER + 4]
        rol eax, 5
        xor eax, [BUFFER + 8]
        xor eax, SALT
        ret

write_record:
        mov dword ptr [BUFFER], MAGIC
        mov eax, [boots]
        mov [BUFFER + 4], eax
        mov eax, [count]
        mov [BUFFER + 8], eax
        call checksum
        mov [BUFFER + 12], eax
        mov ax, 0x4300                  # extended write
        call transfer
        jc 1f
        ret
1:      mov si, offset text_disk_error
        call say
        jmp stuck

# Carry: there is no valid record.
read_record:
        mov dword ptr [BUFFER], 0
        mov ax, 0x4200
        call transfer
        jc 1f
        mov eax, [BUFFER + 4]
        mov [disk_boots], eax
        mov eax, [BUFFER + 8]
        mov [disk_count], eax
        cmp dword ptr [BUFFER], MAGIC
        jne 1f
        call checksum
        cmp eax, [BUFFER + 12]
        jne 1f
        clc
        ret
1:      stc
        ret

transfer:
        mov dl, [drive]
        mov si, offset packet
        mov byte ptr [packet + 2], 1    # the BIOS puts the number done here
        int 0x13
        ret

# ---- com1 -----------------------------------------------------------------------------------------------------------
disk_count_line:
        mov si, offset text_disk
        call say
        mov eax, [disk_count]
        call number
        mov si, offset text_end
        # falls through
say:    lodsb
        test al, al
        jz 1f
        call put
        jmp say
1:      ret

number: mov ebx, 10                     # EAX in decimal
        xor cx, cx
1:      xor edx, edx
        div ebx
        push dx
        inc cx
        test eax, eax
        jnz 1b
2:      pop ax
        add al, '0'
        call put
        loop 2b
        ret

put:    mov ah, al
        mov dx, COM1 + 5
1:      in al, dx
        test al, 0x20
        jz 1b
        mov al, ah
        mov dx, COM1
        out dx, al
        ret

# ---- the power button of QEMU's pc and q35 --------------------------------------------------------------------------
obey_button:
        cmp byte ptr [button], 0
        je 1f
        push ax
        mov dx, PM1_STATUS
        in ax, dx
        test ah, 1
        pop ax
        jz 1f
        mov si, offset text_off
        call say
        mov dx, PM1_CONTROL
        mov ax, 0x2000                  # sleep, type 0: off
        out dx, ax
        jmp stuck
1:      ret

text_boot:       .asciz "\nboot "       # a line that a power cut left unfinished ends here
text_count:      .asciz "count "
text_disk:       .asciz " disk "
text_chain_bad:  .asciz "chain bad "
text_disk_bad:   .asciz "disk bad "
text_disk_error: .asciz "disk error\n"
text_off:        .asciz "off\n"
text_end:        .asciz "\n"

        .balign 4
packet: .byte 16, 0
        .word 1
        .word BUFFER, 0
        .quad RECORD_SECTOR
boots:       .long 0
count:       .long 0
disk_boots:  .long 0
disk_count:  .long 0

        .balign 512
end:
        .set SECTORS, (end - start) / 512 - 1
