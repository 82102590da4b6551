"""How the Pulumi engine, its Python language host and the command plugin are had on this machine."""
