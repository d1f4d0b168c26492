"""Names between single backticks: a link where the reference has an entry, else code.

Docstrings follow numpydoc, where `theta` may be a parameter, an attribute or a function
of the package. With this default role a wrong name is not an error, and every name that
exists is a link; explicit roles such as ``:func:`` stay strict.
"""

from sphinx.domains.python import PyXRefRole
from sphinx.util.nodes import make_refnode


class NameRole(PyXRefRole):
    """A cross-reference that may lead nowhere."""

    def process_link(self, env, refnode, has_explicit_title, title, target):
        refnode["lenient"] = True
        return super().process_link(env, refnode, has_explicit_title, title, target)


def resolve(app, env, node, contnode):
    """Link a class by its name alone; leave other unknown names as code."""
    if not node.get("lenient"):
        return None
    target = node["reftarget"].rpartition(".")[2].removesuffix("()")
    if target[:1].isupper():
        domain = env.get_domain("py")
        found = {
            match[1].node_id: match
            for match in domain.find_obj(env, None, None, target, "obj", 1)
            if match[0].rpartition(".")[2] == target and not match[1].aliased
        }
        if len(found) == 1:
            ((name, entry),) = found.values()
            return make_refnode(
                app.builder,
                node["refdoc"],
                entry.docname,
                entry.node_id,
                contnode,
                name,
            )
    return contnode


def setup(app):
    """Register the role."""
    app.add_role("name", NameRole())
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
