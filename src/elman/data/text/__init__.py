"""Texts: alphabets, ids in mapped files, vocabularies."""
