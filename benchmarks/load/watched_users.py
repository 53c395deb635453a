"""Users of the observability example, a locustfile: between them they make it show everything it has."""

from locust import HttpUser, between, task


class Caller(HttpUser):
    """Calls every endpoint; refusals and errors are what is to be seen."""

    fixed_count = 6
    wait_time = between(0.05, 0.15)

    def on_start(self) -> None:
        self.client.trust_env = False

    @task(6)
    def quote(self) -> None:
        self._ask("GET", "/quotes/ACME")

    @task(3)
    def record(self) -> None:
        self._ask("GET", "/records/7")

    @task(2)
    def digest(self) -> None:
        self._ask("POST", "/digests")

    @task(1)
    def report(self) -> None:
        self._ask("POST", "/reports")

    @task(1)
    def nowhere(self) -> None:
        self._ask("GET", "/nowhere")

    def _ask(self, method: str, path: str) -> None:
        with self.client.request(method, path, name=path, catch_response=True, timeout=15) as answer:
            answer.success()


class Unlucky(Caller):
    """Calls what is down: five failures open the breaker."""

    fixed_count = 1

    @task(20)
    def flaky(self) -> None:
        self._ask("GET", "/flaky")
