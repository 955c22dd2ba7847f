"""Who is who: users, cells and slices of the twins under the identities of the standards."""

import re
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from twinloop.service.analytics.models import Ncgi, NetworkAreaInfo, NrLocation, PlmnId, Snssai, Tai, UserLocation
from twinloop.service.analytics.settings import AnalyticsSettings
from twinloop.service.live import Picture

_OWN_SUPI = re.compile(r"imsi-[0-9]{5,15}|(nai|gci|gli)-.+")
_HEX = re.compile(r"[A-Fa-f0-9]{6}")
_CELL_BITS = 36

Rows = NDArray[np.int64]


class Identities:
    """Identities in the network that the settings name.

    A user whose id is a SUPI already keeps it; any other id is the user part of `nai-<id>@<realm>`, what an address
    cannot hold written as %XX. A cell's identity is its row counted from that of the configured gNB. A slice is its
    S-NSSAI, its instance (NSI) our name of it.
    """

    def __init__(self, settings: AnalyticsSettings) -> None:
        self.plmn = PlmnId(mcc=settings.mcc, mnc=settings.mnc)
        self.tai = Tai(plmn_id=self.plmn, tac=settings.tac)
        self._realm = settings.realm
        self._first_cell = settings.gnb_id << (_CELL_BITS - settings.gnb_bits)

    def supi(self, user: str) -> str:
        """The subscriber that a user is."""
        return user if _OWN_SUPI.fullmatch(user) else f"nai-{quote(user, safe='')}@{self._realm}"

    def user(self, supi: str) -> str:
        """The user that a subscriber is; a name that nobody has where the realm is not ours."""
        name, _, realm = supi.removeprefix("nai-").rpartition("@")
        return unquote(name) if supi.startswith("nai-") and realm == self._realm else supi

    def ncgi(self, cell: int) -> Ncgi:
        """The cell in a row."""
        return Ncgi(plmn_id=self.plmn, nr_cell_id=f"{(self._first_cell + cell) % 2**_CELL_BITS:09X}")

    def location(self, cell: int) -> UserLocation:
        """Being in a cell."""
        return UserLocation(nr_location=NrLocation(tai=self.tai, ncgi=self.ncgi(cell)))

    def area(self, cells: Rows, *, everywhere: bool) -> NetworkAreaInfo:
        """An area of some cells; the tracking area where it is everywhere."""
        if everywhere:
            return NetworkAreaInfo(tais=[self.tai])
        return NetworkAreaInfo(ncgis=[self.ncgi(int(cell)) for cell in cells])

    def cells(self, picture: Picture, area: NetworkAreaInfo | None) -> Rows:
        """Rows of the cells in an area; all where there is none."""
        there = np.flatnonzero(picture.cells.active).astype(np.int64)
        if area is None or self.tai in (area.tais or ()):
            return there
        wanted = {ncgi.nr_cell_id.upper() for ncgi in area.ncgis or () if ncgi.plmn_id == self.plmn}
        inside = [cell for cell in there if self.ncgi(int(cell)).nr_cell_id in wanted]
        return np.asarray(inside, np.int64)

    def snssai(self, picture: Picture, row: int) -> Snssai:
        """The slice in a row."""
        sd = picture.slice_sd[row]
        return Snssai(sst=picture.slice_sst[row], sd=sd if _HEX.fullmatch(sd) else None)

    def slices(self, picture: Picture, wanted: list[Snssai] | None) -> Rows:
        """Rows of the active slices with one of the S-NSSAIs, one without SD meaning any; all where none is named."""
        there = np.flatnonzero(picture.slice_active & picture.slices.active).astype(np.int64)
        if wanted is None:
            return there
        inside = [row for row in there if any(_meets(one, self.snssai(picture, int(row))) for one in wanted)]
        return np.asarray(inside, np.int64)


def _meets(wanted: Snssai, snssai: Snssai) -> bool:
    same_sd = wanted.sd is None or wanted.sd.upper() == (snssai.sd or "").upper()
    return wanted.sst == snssai.sst and same_sd
