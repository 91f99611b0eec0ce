"""Brokers: taskiq's, each set up so that it loses little, hoards nothing and forgets in the end."""

from urllib.parse import urlsplit

from taskiq import AsyncBroker

KEPT = 10_000
"""So many chunks wait in a broker, should nobody take them: the ledger gives each of them out again."""
LONGEST_TASK = 3_600
"""Seconds after which a chunk that nobody has ended is given to somebody else."""
SILENCE = 5
"""Seconds that a broker may take to answer."""


def new_broker(url: str, queue: str, slots: int) -> AsyncBroker:
    """For this address; its client is imported only now, as nobody needs more than one."""
    scheme = urlsplit(url).scheme
    if scheme == "nats":
        return _nats(url, queue.replace(":", "_").replace(".", "_"))
    if scheme.startswith("amqp"):
        return _rabbitmq(url, queue, slots)
    return _redis(url, queue)


def _redis(url: str, queue: str) -> AsyncBroker:
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError
    from taskiq_redis import RedisStreamBroker

    return RedisStreamBroker(
        url,
        queue_name=queue,
        consumer_group_name=queue,
        max_connection_pool_size=50,
        consumer_id="0",  # after Redis has lost all, chunks may be there before those who take them
        maxlen=KEPT,  # what is acknowledged stays there otherwise
        xread_count=1,
        xread_block=SILENCE * 1000 // 2,
        idle_timeout=LONGEST_TASK * 1000,
        unacknowledged_batch_size=1,
        unacknowledged_lock_timeout=SILENCE,
        socket_timeout=SILENCE,
        socket_connect_timeout=SILENCE,
        # Once more: its connections may be from before it was started anew.
        retry=Retry(NoBackoff(), retries=1, supported_errors=(ConnectionError,)),
    )


def _rabbitmq(url: str, queue: str, slots: int) -> AsyncBroker:
    from taskiq_aio_pika import AioPikaBroker
    from taskiq_aio_pika.exchange import Exchange
    from taskiq_aio_pika.queue import Queue, QueueType

    class RabbitMQ(AioPikaBroker):
        async def shutdown(self) -> None:
            """Its connections at once: their channels wait for an answer, and may get none."""
            for connection in (self.write_conn, self.read_conn):
                if connection:
                    await connection.close()

    # Not a quorum: one that was killed may be without a leader for minutes, and we need none of its promises.
    kind, bounded = QueueType.CLASSIC, {"x-max-length": KEPT}
    return RabbitMQ(
        url,
        qos=slots,
        exchange=Exchange(name=queue),
        task_queues=[Queue(name=queue, type=kind, arguments=dict(bounded))],
        dead_letter_queue=Queue(name=f"{queue}.dead", type=kind, arguments=dict(bounded)),
        timeout=SILENCE,
    )


def _nats(url: str, queue: str) -> AsyncBroker:
    from nats.js.api import ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig
    from taskiq_nats import PullBasedJetStreamBroker

    return PullBasedJetStreamBroker(
        url,
        subject=queue,
        stream_name=queue,
        durable=queue,
        stream_config=StreamConfig(
            retention=RetentionPolicy.WORK_QUEUE, max_msgs=KEPT, discard=DiscardPolicy.OLD
        ),
        consumer_config=ConsumerConfig(durable_name=queue, ack_wait=LONGEST_TASK),
        pull_consume_batch=1,
        pull_consume_timeout=SILENCE,
        connect_timeout=SILENCE,
    )
