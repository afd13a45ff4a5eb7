"""Result files of this and other systems, read as predictions."""
