"""The only code that can say yes."""
