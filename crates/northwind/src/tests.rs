//! The server over real HTTP, in both eras.
