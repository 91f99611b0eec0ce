"""Chatfuel: the bot through which customers are written to on Messenger."""
