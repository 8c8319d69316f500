"""What calls changed in a folder, told from looks before and after, and how it is put back."""
