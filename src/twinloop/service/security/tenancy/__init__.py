"""What tenants see: grants of slices, pseudonyms of users, pictures cut down to them, and the views of it."""

from twinloop.service.security.tenancy.cut import Cut
from twinloop.service.security.tenancy.grants import DEFAULT_GRANT, Grant, Grants
from twinloop.service.security.tenancy.pseudonyms import Pseudonyms
from twinloop.service.security.tenancy.sight import Sight, Tenancy, View

__all__ = ["DEFAULT_GRANT", "Cut", "Grant", "Grants", "Pseudonyms", "Sight", "Tenancy", "View"]
