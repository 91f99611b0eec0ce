"""Hyber: GMS's platform for push, Viber, SMS and WhatsApp, one after the other until one arrives."""
