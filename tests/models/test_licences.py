"""What a licence allows, by its name; what nobody classified is never called open."""

import pytest

from hakaru.models.catalogue import known_models
from hakaru.models.licences import CLASSES, LicenceClass, licence_class, licence_from_hub


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        ("Apache-2.0", "open"),
        ("MIT", "open"),
        ("CC-BY-4.0", "open"),
        ("LicenseRef-openmdw-1.1", "open"),
        ("LicenseRef-gemma", "community"),
        ("LicenseRef-llama3.1", "community"),
        ("LicenseRef-Modified-MIT", "community"),
        ("CC-BY-NC-4.0", "non-commercial"),
        ("LicenseRef-mrl", "non-commercial"),
        (None, "unknown"),
        ("", "unknown"),
        ("LicenseRef-something-new", "unknown"),
        ("LicenseRef-apache-2.0-with-a-twist", "unknown"),
        # of several, the strictest
        ("LicenseRef-llama3.3,gemma", "community"),
        ("LicenseRef-mit,cc-by-nc-4.0", "non-commercial"),
        ("LicenseRef-mit,something-new", "unknown"),
    ],
)
def test_a_licence_has_a_class(licence: str | None, kind: LicenceClass) -> None:
    """By its name alone."""
    assert licence_class(licence) == kind


def test_the_classes_of_the_catalogue() -> None:
    """Counted by hand from the names; the unknown ones are those that state none, and two whose
    terms nobody classified.
    """
    classes = [licence_class(model.license) for model in known_models()]
    assert [classes.count(name) for name in CLASSES] == [157, 45, 13, 18]
    unknown = {m.license for m in known_models() if licence_class(m.license) == "unknown"}
    assert unknown == {None, "LicenseRef-k-exaone", "LicenseRef-qwen3.8-max"}


@pytest.mark.parametrize(
    ("stated", "own_name", "licence", "kind"),
    [
        ("apache-2.0", None, "Apache-2.0", "open"),
        ("gemma", None, "LicenseRef-gemma", "community"),
        ("llama3", None, "LicenseRef-llama3", "community"),
        ("other", "exaone", "LicenseRef-exaone", "non-commercial"),
        ("other", None, None, "unknown"),
        ("unknown", None, None, "unknown"),
        ("bsd-3-clause", None, "BSD-3-Clause", "open"),
        ("other", "Modified-MIT", "LicenseRef-Modified-MIT", "community"),
        (["llama3.3", "gemma"], None, "LicenseRef-llama3.3,gemma", "community"),
        (None, "mrl", None, "unknown"),
        (7, None, None, "unknown"),
    ],
)
def test_the_hub_s_names_become_the_catalogue_s(
    stated: object, own_name: object, licence: str | None, kind: str
) -> None:
    """`other` with a name keeps the name; what is no name is none."""
    assert licence_from_hub(stated, own_name) == licence
    assert licence_class(licence) == kind
