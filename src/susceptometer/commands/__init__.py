"""What every command of the command line does: arguments in, printed lines and plain values out."""
