"""Stand-ins for the interfaces of other programs, so that what is built on them can switch."""
