"""Documents from a branch of a git repository: fetched, verified, laid out beside, and put in force by one rename.

A revision that is not signed as it has to be is refused, and the one before stays in force; so it does when the
repository cannot be reached. One that does not follow from the last accepted one is used, but nothing is removed for
it until a person approves. Neighbours: ``drivers.git`` reads the repository, ``signers`` judges signatures,
``releases`` lays out, ``standing`` remembers, ``ledger`` is told of what is refused.
"""

from dataclasses import replace
from pathlib import Path

from reconciler.drivers.git import Git, Unreachable, without_password, words_of
from reconciler.errors import CkptreeError, CommandFailed
from reconciler.model.plan import Restraint
from reconciler.source.contract import Refreshed
from reconciler.source.ledger import Ledger, State
from reconciler.source.releases import Releases
from reconciler.source.signers import fingerprint, unsigned
from reconciler.source.standing import Standing, StandingFile
from reconciler.spec.settings import GitSource as Settings

_NAMED = 5  # branches in one sentence
_SHORTEST = 7  # digits of a commit that a person may write


class GitSource:
    """Implements ``contract.Source``: SETTINGS say which repository, STATE is the folder for all that is kept of it.

    LEDGER is told of what is refused and superseded; whoever carries out the documents tells it the rest.
    """

    def __init__(self, settings: Settings, state: Path, ledger: Ledger) -> None:
        self._settings = settings
        self._state = state
        self.ledger = ledger
        self._standing = StandingFile(state)
        self._releases = Releases(state, settings.path)
        self._trouble = ""
        self._seen: tuple[str | None, str] | None = None
        self._git = Git(settings.url, state / "repository.git", state / "gitconfig")

    @property
    def place(self) -> str:
        """The repository, its branch and the folder in it, without a password."""
        below = f", {self._settings.path}" if self._settings.path else ""
        return f"{without_password(self._settings.url)} ({self._settings.branch}{below})"

    @property
    def path(self) -> Path | None:
        """The documents in force, always by the same name; none if nothing was fetched yet."""
        return self._releases.path

    @property
    def revision(self) -> str | None:
        """The commit whose documents are in force."""
        return self._releases.revision

    @property
    def problem(self) -> str:
        """What keeps us from newer documents."""
        try:
            return self._trouble or self._standing.read().problem
        except CkptreeError as error:
            return str(error)

    @property
    def restraint(self) -> Restraint:
        """What must not be done with the documents in force."""
        return self.restraint_of(self.revision)

    def restraint_of(self, revision: str | None) -> Restraint:
        """What must not be done with documents that were read when REVISION was in force."""
        try:
            return self._restraint_of(revision)
        except CkptreeError as error:
            return Restraint(removals=str(error))

    def _restraint_of(self, revision: str | None) -> Restraint:
        standing = self._standing.read()
        if revision is None or revision != standing.accepted:
            return Restraint(
                removals="the documents are of a revision that is not in force any more"
            )
        if not standing.why or self._standing.approved == revision:
            return Restraint()
        hint = f"look at it, then 'ckptree approve --revision {revision[:12]}'"
        return Restraint(removals=f"{standing.why} ({hint})")

    def approve(self, text: str) -> str:
        """Allow the removals of the revision in force, which TEXT must name; gives all of its name.

        Raises CkptreeError if it is another one, nothing of it is held back, or what is cannot be read.
        """
        revision = self.revision
        if revision is None:
            raise CkptreeError("there is no revision to approve yet (run 'ckptree fetch')")
        if len(text) < _SHORTEST or not revision.startswith(text.lower()):
            raise CkptreeError(
                f"the revision in force is {revision[:12]}, not {text} (look at 'ckptree plan' again, then approve)"
            )
        if not self._restraint_of(revision).removals:
            raise CkptreeError(f"nothing of revision {revision[:12]} waits for approval")
        self._standing.approve(revision)
        return revision

    def refresh(self) -> Refreshed:
        """Fetch, verify, and put in force what is new. Never raises."""
        try:
            with self._standing.locked():
                self._git.tidy()
                before = self._standing.read()
                try:
                    after, message = self._look(before)
                except CommandFailed as error:
                    hint = f"if it stays so, delete {self._state / 'repository.git'}"
                    after, message = (
                        self._stay(before, f"git failed: {words_of(error)} ({hint})"),
                        "",
                    )
                except (CkptreeError, OSError) as error:
                    after, message = self._stay(before, str(error)), ""
                if after != before:
                    self._standing.write(after)
                moved = self._put_in_force(after)
        except (CkptreeError, OSError) as error:
            self._trouble = f"{self._state} cannot be used: {error}"
            return Refreshed(changed=False, message=self._trouble)
        self._trouble = ""
        seen, self._seen = self._seen, (after.accepted, after.why)
        # What another process has put in force meanwhile is news for ours.
        news = seen is not None and seen != self._seen
        changed = moved or news or (before.accepted, before.why) != (after.accepted, after.why)
        return Refreshed(changed, message or after.problem)

    def _look(self, before: Standing) -> tuple[Standing, str]:
        """Find out where the branch is; gives the new standing, its documents laid out, and a sentence about it."""
        try:
            tip = self._tip()
        except Unreachable as error:
            return self._stay(before, str(error)), ""
        if tip != before.accepted:
            because = (
                f"{before.accepted} {fingerprint(self._settings.verify)} {self._settings.path}"
            )
            if (tip, because) == (before.refused, before.because):
                refusal = before.refusal
            else:
                refusal = self._refusal(tip, before.accepted)
                refusal = refusal or self._releases.lay_out(self._git, tip)
            if refusal:
                self.ledger.note(tip, State.REFUSED, refusal)
                after = self._stay(before, f"commit {tip[:12]} is refused: {refusal}")
                return replace(after, refused=tip, refusal=refusal, because=because), ""
        elif not self._releases.in_force(tip):
            wrong = self._releases.lay_out(self._git, tip)
            if wrong:
                return self._stay(before, f"commit {tip[:12]}: {wrong}"), ""
        return self._accepted(tip, before)

    def _accepted(self, tip: str, before: Standing) -> tuple[Standing, str]:
        why = "" if tip == before.cleared else self._why_restrained(tip, before.cleared)
        cleared = before.cleared if why else tip
        if (tip, cleared) != (before.accepted, before.cleared):
            for name, commit in (("accepted", tip), ("cleared", cleared)):
                if commit is not None and self._git.has(commit):
                    self._git.keep(name, commit)
        after = Standing(accepted=tip, cleared=cleared, why=why)
        if tip == before.accepted:
            return after, f"revision {tip[:12]} is still the newest one"
        self._supersede(before.accepted, tip)
        return after, f"revision {tip[:12]} is in force" + (
            f"; nothing is removed or restored: {why}" if why else ""
        )

    def _tip(self) -> str:
        """Ask for the tip of the branch, and fetch it; raises Unreachable with a whole sentence."""
        branch = self._settings.branch
        try:
            heads = self._git.heads()
        except Unreachable as error:
            raise Unreachable(f"the repository cannot be reached: {error}") from error
        tip = heads.get(branch)
        if tip is not None:
            try:
                return tip if self._git.has(tip) else self._git.fetch(branch, tip)
            except Unreachable as error:
                raise Unreachable(f"commit {tip[:12]} cannot be fetched: {error}") from error
        if not heads:
            raise Unreachable("the repository is empty (push a commit with documents to it)")
        names = ", ".join(sorted(heads)[:_NAMED]) + (", ..." if len(heads) > _NAMED else "")
        raise Unreachable(
            f"the repository has no branch {branch} (it has {names}: change 'branch')"
        )

    def _refusal(self, tip: str, accepted: str | None) -> str:
        """Say why TIP is not accepted; empty if it is. Raises CkptreeError if that cannot be found out now."""
        signers = self._settings.verify
        if signers is None:
            return ""
        return unsigned(self._git, self._new(tip, accepted), signers, self._state)

    def _why_restrained(self, tip: str, cleared: str | None) -> str:
        """Say why nothing may be removed for TIP, in words that end a sentence; empty if it may."""
        if self._standing.approved == tip:
            return ""
        if cleared is not None and not (
            self._git.has(cleared) and self._git.descends(tip, cleared)
        ):
            return f"commit {tip[:12]} does not follow from {cleared[:12]}, the last one that was accepted"
        signers = self._settings.destructive
        if signers is None:
            return ""
        commits = self._new(tip, cleared)
        try:
            wrong = unsigned(self._git, commits, signers, self._state)
        except CkptreeError as error:
            wrong = str(error)
        return f"the signers of 'destructive' have not signed it all: {wrong}" if wrong else ""

    def _new(self, tip: str, since: str | None) -> tuple[str, ...]:
        """List what has to be signed: TIP and all since SINCE; the tip alone where nothing was accepted before."""
        if since is None:
            return (tip,)
        return self._git.commits(tip, since if self._git.has(since) else None)

    def _stay(self, before: Standing, problem: str) -> Standing:
        """Keep what is in force, because of PROBLEM."""
        if before.accepted is None:
            going_on = "nothing is in force yet"
        else:
            going_on = f"going on with revision {before.accepted[:12]}"
        return replace(before, problem=f"{problem}; {going_on}")

    def _put_in_force(self, standing: Standing) -> bool:
        """Switch to the documents of STANDING; tells whether anything was switched."""
        commit = standing.accepted
        if commit is None or self._releases.in_force(commit):
            return False
        if not self._releases.laid_out(commit) and (
            not self._git.has(commit) or self._releases.lay_out(self._git, commit)
        ):
            return False
        self._releases.switch(commit)
        return True

    def _supersede(self, old: str | None, new: str) -> None:
        if old is None:
            return
        last = self.ledger.last(old)
        if last is None or last.state is not State.APPLIED:
            self.ledger.note(
                old, State.SUPERSEDED, f"revision {new[:12]} came before it was applied"
            )
