"""The file: its keys, its values, and what the program is made of by them."""
