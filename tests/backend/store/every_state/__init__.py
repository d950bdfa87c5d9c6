"""Every small state of the store, every call and every order of two, on both engines: same answers, same rows."""
