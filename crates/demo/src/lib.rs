//! One command that starts the whole system: a Pomerium stand-in, a scripted model, northwind and Toolgate.
