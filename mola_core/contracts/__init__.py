"""The types, clocks, errors and geometry that every other ring of the house shares."""
