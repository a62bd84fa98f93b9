"""What lies in a home besides ZFS: the link, the disks in a branch, and who has them open."""

from collections.abc import Sequence
from typing import Protocol

from reconciler.model.observed import GuestState, Link
from reconciler.names import Dataset


class Files(Protocol):
    """The files of a home and its branches. Paths are absolute mountpoints as ZFS gives them."""

    def read_link(self, home: str) -> Link:
        """Read HOME/current."""

    def switch_link(self, home: str, target: str) -> None:
        """Make HOME/current point at TARGET, a name within HOME, by one rename(2). Raises StepFailed."""

    def missing(
        self, branch: str, dataset: Dataset, files: Sequence[str], volumes: Sequence[str]
    ) -> Sequence[str]:
        """Name those of FILES and VOLUMES that the branch mounted at BRANCH has not.

        A volume counts as there when its link leads to DATASET's own volume.
        """

    def prepare(
        self, branch: str, dataset: Dataset, files: Sequence[str], volumes: Sequence[str]
    ) -> None:
        """Point the links of VOLUMES at DATASET's own, wait for their devices, check FILES.

        Raises StepFailed, naming every disk that is not there.
        """

    def memory_path(self, branch: str, dataset: Dataset, memory: str) -> str:
        """Tell the absolute path of MEMORY, which is relative to BRANCH, where DATASET is mounted."""

    def prepare_memory(self, branch: str, dataset: Dataset, memory: str) -> None:
        """Make the folder of MEMORY (mode 0700) and remove what an interrupted run left at it. Raises StepFailed."""

    def live_memory(self, branch: str, dataset: Dataset) -> Sequence[str]:
        """Name the files of RAM in BRANCH that nothing has resumed, relative to it. Raises ObservationFailed."""

    def drop_memory(self, branch: str, dataset: Dataset, memory: str) -> None:
        """Remove the files of RAM at MEMORY; absent is fine. Raises StepFailed."""

    def link_disks(self, home: str, names: Sequence[str]) -> Sequence[str]:
        """Make HOME/NAME lead to HOME/current/NAME for each disk, so that the guest's definition may name it so.

        Tells which links are new; a real file of that name is left alone. Raises StepFailed.
        """

    def users(self, branches: Sequence[tuple[str, Dataset]], volumes: Sequence[str]) -> GuestState:
        """Find out whether any process has a file or a volume of one of BRANCHES (mountpoint, dataset) open."""
