"""The tests of Switchboard."""
