"""What stands for a run of W&B."""


class FakeRun:
    """Takes what a W&B run takes."""

    id = "abc"

    def __init__(self):
        self.logged, self.artifacts, self.alerts, self.summary = [], [], [], {}

    def log(self, values, **_):
        self.logged.append(values)

    def alert(self, title, text):
        self.alerts.append(title)

    def log_artifact(self, artifact):
        self.artifacts.append(artifact)
