"""What is well and what is not with this installation and with the body files of its user.

Everything that a broken package could bring down is tried in a process of its own.
"""
