"""The truth about requests, as functions of values and of `now`: no Twisted, no clock, no input or output."""
