"""What the scripts do, a module each: options, one call into the package, what is printed."""
