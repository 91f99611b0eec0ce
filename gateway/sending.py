"""Sending: what of it a process does, by its settings."""

from gateway.settings import Sending, Settings
from resolvers.sending import post


def sending(settings: Settings) -> post.Sending:
    return post.Sending(
        environment=settings.environment,
        callback_url=settings.callback_url,
        redis_url=settings.redis,
        broker_url=settings.broker,
        at_once=settings.sending is not Sending.OFF,
        what_waits=settings.sending is Sending.ON,
        slots=settings.slots,
        grace=settings.drain,
        keep_messages=settings.keep_messages,
        keep_reports=settings.keep_reports,
    )
