/* Gives an update that was built into it to the firmware's SetVariable(), and says what the firmware answers. */
#include <efi.h>
#include <efilib.h>

extern unsigned char update[], update_end[];
__asm__(".pushsection .rodata\n.global update\nupdate: .incbin \"update.auth\"\n.global update_end\nupdate_end:\n.popsection");

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
	EFI_GUID database = {0xd719b2cb, 0x3d3a, 0x4596, {0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}};

	InitializeLib(image, system);
	EFI_STATUS status = uefi_call_wrapper(RT->SetVariable, 5, VARIABLE, &database, (UINT32)ATTRIBUTES,
					      (UINTN)(update_end - update), update);
	Print(L"SetVariable: %r\n", status);
	return status;
}
