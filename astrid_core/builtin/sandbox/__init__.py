"""The process sandboxes that come with the core: bubblewrap, and Landlock where it is missing."""
