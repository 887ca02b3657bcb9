"""What the parts of `dustcast.sed` pass to each other: the factorised grid and its quantities.

A model of the grid is a pair (i, j) of an attenuated stellar model i and a dust model j. Energy
balance makes its flux in band b, per solar mass formed and seen from 10 pc,

    M[i, j, b] = stellar_flux[i, b] + luminosity[i] * dust_flux[j, b]

and every quantity that a fit reports is a^p * g[i] * h[j], with a the scale of the fit, p its
power (1 for an extensive quantity, 0 for an intensive one). No array of size i x j is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Quantity:
    """A quantity a^power * stellar[i] * dust[j] of the model (i, j).

    Attributes
    ----------
    name : str
        CIGALE's name, without the `bayes.` prefix, for example ``dust.luminosity``.
    power : int
        1 if the quantity grows with the scale of the model (extensive), 0 if it does not.
    unit : str
        Unit in astropy's notation, as CIGALE writes it.
    stellar : ndarray of shape (n_stellar,) or None
        Factor of the stellar model; None for 1.
    dust : ndarray of shape (n_dust,) or None
        Factor of the dust model; None for 1.
    """

    name: str
    power: int
    unit: str = ""
    stellar: np.ndarray | None = None
    dust: np.ndarray | None = None


@dataclass(frozen=True)
class FactorisedGrid:
    """All models of a grid, as the two factors that energy balance leaves.

    Attributes
    ----------
    bands : tuple of str
        Band ids, in the order of the flux columns.
    stellar_flux : ndarray of shape (n_stellar, n_band)
        Attenuated stellar and nebular flux in mJy, for 1 Msun formed seen from 10 pc.
    luminosity : ndarray of shape (n_stellar,)
        Luminosity that dust absorbs, in W, for 1 Msun formed.
    dust_flux : ndarray of shape (n_dust, n_band)
        Dust emission in mJy per W of dust luminosity, seen from 10 pc.
    quantities : tuple of Quantity
        What a fit reports besides the bands.
    stellar_parameters, dust_parameters : dict of str to ndarray
        Value of every free or fixed parameter of each stellar and dust model.
    meta : dict
        Provenance: configuration of the grid, hash, versions.
    """

    bands: tuple[str, ...]
    stellar_flux: np.ndarray
    luminosity: np.ndarray
    dust_flux: np.ndarray
    quantities: tuple[Quantity, ...] = ()
    stellar_parameters: dict[str, np.ndarray] = field(default_factory=dict)
    dust_parameters: dict[str, np.ndarray] = field(default_factory=dict)
    meta: dict = field(default_factory=dict)

    @property
    def n_models(self):
        """Number of models, n_stellar times n_dust."""
        return len(self.stellar_flux) * len(self.dust_flux)
