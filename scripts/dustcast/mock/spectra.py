"""Spectra of continuous parameters, from a grid of models that ordinary builders made.

Fluxes and luminosities per mass formed are interpolated linearly between the nodes of the stellar
parameters, and emission per dust mass between those of the dust. A linear interpolation is a sum
of models with positive shares, so energy balance and every extensive truth hold exactly for it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from dustcast.tables import DataError
from dustcast.units import SOLAR_LUMINOSITY_W

# Parameters of a position, and the variable in which each lies between its nodes.
STELLAR_AXES = {
    "sfh.tau_main": np.log10,
    "sfh.age": np.asarray,
    "sfh.r_sfr": np.log10,
    "attenuation.E_BVs_young": np.asarray,
    "attenuation.E_BVs_old_factor": np.asarray,
    "attenuation.powerlaw_slope": np.asarray,
}
STELLAR_TOTALS = ("stellar.lum", "stellar.lum_young", "stellar.m_star")
# The mass fraction of small carbonaceous grains in the diffuse dust of the Milky Way: 17% of
# THEMIS (Jones et al. 2017), 4.58% of DL07 (Draine & Li 2007, MW3.1_60). One stands for the other.
MILKY_WAY_QHAC, MILKY_WAY_QPAH = 0.17, 4.58

# Histories among which `Spectra.history` chooses: tau_main (Myr), age (Myr), r_sfr; and how far the
# chosen one may well be off in mass to light, share of young stars (dex) and age (Myr).
HISTORIES = (np.geomspace(500, 20000, 24), np.linspace(2000, 12000, 11), np.geomspace(0.01, 10, 31))
HISTORY_TOLERANCE = np.array([0.02, 0.05, 1500.0])

BLOCK = 4096  # positions that are interpolated at once, to bound memory


@dataclass(frozen=True)
class Emission:
    """What a set of positions emits.

    Attributes
    ----------
    stars, dust : ndarray of shape (n, n_band)
        Flux in mJy seen from 10 pc.
    stellar_lum, young_lum, dust_lum : ndarray of shape (n,)
        Unattenuated luminosity of all stars and of young ones, and that of dust, in W.
    m_star, dust_mass : ndarray of shape (n,)
        Mass of stars in Msun and of dust in kg.
    """

    stars: np.ndarray
    dust: np.ndarray
    stellar_lum: np.ndarray
    young_lum: np.ndarray
    dust_lum: np.ndarray
    m_star: np.ndarray
    dust_mass: np.ndarray


class Spectra:
    """Interpolates a grid of models.

    Parameters
    ----------
    grid : FactorisedGrid
        sfhdelayedtrunc, dustatt_calzleit, and themis or dl2007 with gamma 0 and 1: all
        combinations of the nodes of its parameters.

    Raises
    ------
    DataError
        If it is of other modules.
    """

    def __init__(self, grid):
        self.bands = grid.bands
        fraction = "dust.qhac" if "dust.qhac" in grid.dust_parameters else "dust.qpah"
        names = {**grid.stellar_parameters, **grid.dust_parameters}
        missing = [
            n for n in (*STELLAR_AXES, fraction, "dust.umin", "dust.gamma") if n not in names
        ]
        if missing:
            raise DataError(
                f"the mock needs models of sfhdelayedtrunc, dustatt_calzleit and themis or dl2007, "
                f"but the grid has no {missing[0]}: name another grid"
            )
        self._qpah = fraction == "dust.qpah"
        quantities = {quantity.name: quantity for quantity in grid.quantities}
        stellar = np.column_stack(
            [grid.stellar_flux, grid.luminosity]
            + [quantities[name].stellar for name in STELLAR_TOTALS]
        )
        parameters = {name: grid.stellar_parameters[name] for name in STELLAR_AXES}
        self._stellar = _Lattice(parameters, stellar, STELLAR_AXES)
        per_watt = quantities["dust.mass"].dust  # kg a W
        dusty = np.column_stack([grid.dust_flux, np.ones(len(per_watt))]) / per_watt[:, None]
        parameters = {
            name: grid.dust_parameters[name] for name in (fraction, "dust.umin", "dust.gamma")
        }
        self._dust = _Lattice(parameters, dusty, dict.fromkeys(parameters, np.asarray))
        self._list_histories()

    def history(self, log_mass_to_light, log_young_share, age):
        """Return the history that comes nearest to what a galaxy's stars are like.

        Parameters
        ----------
        log_mass_to_light : float
            log10 of the mass of stars over their luminosity in Msun/Lsun.
        log_young_share : float
            log10 of the share of stars younger than 10 Myr in the luminosity.
        age : float
            Age in Myr, which the two others leave free within limits.

        Returns
        -------
        tau_main, age, r_sfr : float
        """
        wanted = np.array([log_mass_to_light, log_young_share, age])
        distance = ((self._history_values - wanted) / HISTORY_TOLERANCE) ** 2
        return tuple(map(float, self._histories[distance.sum(axis=1).argmin()]))

    def _list_histories(self):
        """Tabulate what `history` chooses from."""
        self._histories = np.array(list(itertools.product(*HISTORIES)))
        values = dict(zip(("sfh.tau_main", "sfh.age", "sfh.r_sfr"), self._histories.T))
        plain = np.zeros(len(self._histories))
        emitted = self.emission(
            plain + 1.0,
            values
            | {name: plain for name in STELLAR_AXES if name not in values}
            | {"dust.qhac": plain, "dust.umin": plain, "dust.gamma": plain},
        )
        light = emitted.stellar_lum / SOLAR_LUMINOSITY_W
        young = np.log10(emitted.young_lum / emitted.stellar_lum)
        self._history_values = np.column_stack(
            [np.log10(emitted.m_star / light), young, values["sfh.age"]]
        )

    def limits(self, name):
        """Return the lowest and highest node of a parameter by its name in `Spectra.emission`."""
        lattice = self._stellar if name in self._stellar.nodes else self._dust
        low, high = lattice.nodes[name][[0, -1]]
        return float(low), float(high)

    def emission(self, mass_formed, parameters):
        """Return what positions emit.

        Parameters
        ----------
        mass_formed : ndarray of shape (n,)
            Stellar mass formed in Msun.
        parameters : dict of str to ndarray of shape (n,)
            ``sfh.tau_main``, ``sfh.age`` (Myr), ``sfh.r_sfr``, ``attenuation.E_BVs_young``,
            ``attenuation.E_BVs_old_factor``, ``attenuation.powerlaw_slope``, ``dust.qhac``,
            ``dust.umin``, ``dust.gamma``. Values beyond the nodes count as the last node; qhac is
            translated for a grid of Draine & Li (2007).

        Returns
        -------
        Emission
        """
        values = dict(parameters)
        if self._qpah:
            values["dust.qpah"] = values["dust.qhac"] / MILKY_WAY_QHAC * MILKY_WAY_QPAH
        stellar = self._stellar.at(values) * np.asarray(mass_formed)[:, None]
        dusty = self._dust.at(values)
        n_band = len(self.bands)
        dust_lum = stellar[:, n_band]
        dust_mass = dust_lum / dusty[:, n_band]
        return Emission(
            stars=stellar[:, :n_band],
            dust=dusty[:, :n_band] * dust_mass[:, None],
            stellar_lum=stellar[:, n_band + 1],
            young_lum=stellar[:, n_band + 2],
            dust_lum=dust_lum,
            m_star=stellar[:, n_band + 3],
            dust_mass=dust_mass,
        )


class _Lattice:
    """Multilinear interpolation of rows that stand on all combinations of some nodes."""

    def __init__(self, parameters, rows, variables):
        self.nodes = {name: np.unique(values) for name, values in parameters.items()}
        self._variables = variables
        shape = tuple(len(nodes) for nodes in self.nodes.values())
        place = tuple(
            np.searchsorted(self.nodes[name], values) for name, values in parameters.items()
        )
        index = np.ravel_multi_index(place, shape)
        if len(rows) != np.prod(shape) or len(np.unique(index)) < len(rows):
            raise DataError("the mock needs a grid of all combinations of its nodes")
        self._rows = np.empty_like(rows)
        self._rows[index] = rows
        self._strides = dict(zip(self.nodes, np.cumprod((1, *shape[:0:-1]))[::-1]))

    def at(self, values):
        """Return the rows at `values` (parameter to array of shape (n,)), shape (n, n_column)."""
        n = len(next(iter(values.values())))
        out = np.zeros((n, self._rows.shape[1]))
        for start in range(0, n, BLOCK):
            part = slice(start, start + BLOCK)
            out[part] = self._block({name: values[name][part] for name in self.nodes})
        return out

    def _block(self, values):
        base, upper = 0, {}
        for name, nodes in self.nodes.items():
            variable = self._variables[name]
            position = np.interp(
                variable(np.clip(values[name], nodes[0], nodes[-1])),
                variable(nodes),
                np.arange(len(nodes), dtype=float),
            )
            lower = np.minimum(position.astype(int), max(len(nodes) - 2, 0))
            upper[name] = position - lower
            base = base + lower * self._strides[name]
        out = 0.0
        for corner in itertools.product((0, 1), repeat=len(self.nodes)):
            share, step = 1.0, 0
            for name, up in zip(self.nodes, corner):
                share = share * (upper[name] if up else 1.0 - upper[name])
                step += up * self._strides[name]
            # A share of 0 may point past the last node.
            rows = self._rows[np.minimum(base + step, len(self._rows) - 1)]
            out = out + share[:, None] * rows
        return out
