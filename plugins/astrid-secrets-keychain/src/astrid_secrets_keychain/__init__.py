"""Secret stores for Astrid: the system's keychain, or an encrypted file."""
