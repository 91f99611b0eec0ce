"""Mercately: the CRM that knows customers, agents, conversations and WhatsApp templates."""
