"""One line for each action while a plan is carried out, and one at its end.

``plan_text`` tells what will be done; this tells what is being done, for `ckptree apply`.
"""

from reconciler.model.actions import Action
from reconciler.model.plan import Plan
from reconciler.names import Dataset, VmName
from reconciler.render.action_words import action_view
from reconciler.render.plan_text import sign_text
from reconciler.render.style import Role, Style
from reconciler.render.units import count_text


def progress_line(vm: VmName, home: Dataset, action: Action, style: Style) -> str:
    """Tell that ACTION of the VM with HOME is begun."""
    view = action_view(action, home)
    sign = style.paint(f"{sign_text(view.mark, style)} {view.verb}", Role.STRONG)
    return f"{vm}: {sign} {view.what}"


def done_line(plan: Plan) -> str:
    """Tell that PLAN was carried out."""
    count = len(plan.actions)
    done = f"{count_text(count, 'action')} done" if count else "nothing to do"
    return f"{plan.vm}: {done}"
