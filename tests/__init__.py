"""This tree mirrors the package, and adds contract/, flows/, house/ and bench/."""
