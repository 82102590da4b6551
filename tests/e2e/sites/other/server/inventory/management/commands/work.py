import os
import signal
import threading

from django.core.management.base import BaseCommand

from inventory.models import Heartbeat


class Command(BaseCommand):
    help = "Write a heartbeat twice a second, until SIGTERM."

    def handle(self, *args, **options) -> None:
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        self.stdout.write("worker started")
        while not stop.wait(0.5):
            Heartbeat.objects.create(release=os.environ["WORKER_RELEASE"], pid=os.getpid())
        self.stdout.write("worker stopped")
