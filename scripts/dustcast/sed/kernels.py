"""Compiled kernels of the fit engine; `dustcast.sed.engine` prepares their input.

All of them work on one observation in dimensionless units: fluxes are divided by a unit a band
and one an observation, stellar models by their own size, so that nothing under- or overflows
whatever the distance of the galaxy. The symbols are those of docs/method-fits.md.
"""

from __future__ import annotations

import math

import numba
import numpy as np

# Reassociation and contraction let the compiler vectorise sums; NaN and infinity keep their
# meaning, since a missing band or an impossible model must not turn into a number.
FAST = {"reassoc", "contract", "arcp", "nsz"}

jit = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
# Without reassociation: where the order of operations protects digits.
jit_strict = numba.njit(cache=True, nogil=True, error_model="numpy")


@jit_strict
def log_normal_cdf(x):
    """Return ln of the cumulative normal distribution at `x`, without underflow."""
    if x > -10.0:
        return math.log(0.5 * math.erfc(-x * 0.7071067811865476))
    # Asymptotic series (Abramowitz & Stegun 26.2.12); at x = -10 its error is below 1e-9.
    r = 1.0 / (x * x)
    series = 1.0 - r * (1.0 - 3.0 * r * (1.0 - 5.0 * r * (1.0 - 7.0 * r * (1.0 - 9.0 * r))))
    return -0.5 * x * x - math.log(-x) - 0.9189385332046727 + math.log(series)


@jit
def stellar_sums(stellar_t, weight, flux, fs, ss):
    """Fill `fs` = sum_b w f S and `ss` = sum_b w S^2 of every stellar model.

    Parameters
    ----------
    stellar_t : ndarray of shape (n_band, n_stellar)
    weight, flux : ndarray of shape (n_band,)
    fs, ss : ndarray of shape (n_stellar,)
        Overwritten.
    """
    fs[:] = 0.0
    ss[:] = 0.0
    n = fs.size
    for b in range(weight.size):
        w = weight[b]
        if w > 0.0:
            wf = w * flux[b]
            row = stellar_t[b]
            for i in range(n):
                s = row[i]
                fs[i] += wf * s
                ss[i] += w * s * s


@jit
def dust_sums(dust_t, weight, flux, coupled, vectors, fd, dd, sd):
    """Fill the sums over bands of every dust model.

    Parameters
    ----------
    dust_t : ndarray of shape (n_band, n_dust)
    weight, flux : ndarray of shape (n_band,)
    coupled : ndarray of int
        Bands in which both stars and dust shine.
    vectors : ndarray of shape (rank, n_coupled)
        Low-rank factor: S[i, b] = sum_k U[i, k] vectors[k, b] in the coupled bands.
    fd, dd : ndarray of shape (n_dust,)
        sum_b w f D and sum_b w D^2; overwritten.
    sd : ndarray of shape (rank, n_dust)
        sum_b w vectors[k, b] D[j, b]; overwritten.
    """
    fd[:] = 0.0
    dd[:] = 0.0
    sd[:] = 0.0
    n = fd.size
    for b in range(weight.size):
        w = weight[b]
        if w > 0.0:
            wf = w * flux[b]
            row = dust_t[b]
            for j in range(n):
                d = row[j]
                fd[j] += wf * d
                dd[j] += w * d * d
    for c in range(coupled.size):
        w = weight[coupled[c]]
        if w > 0.0:
            row = dust_t[coupled[c]]
            for k in range(vectors.shape[0]):
                wv = w * vectors[k, c]
                out = sd[k]
                for j in range(n):
                    out[j] += wv * row[j]


@jit
def row_scales(i, fs, ss, luminosity, u, fd, dd, sd, total, scale, chi2):
    """Fill scale and chi2 of the stellar model `i` with every dust model.

    A model whose best scale is not positive has chi2 = inf: it has no likelihood.
    """
    lam = luminosity[i]
    n = fd.size
    for j in range(n):
        chi2[j] = 0.0
    for k in range(sd.shape[0]):
        uk = u[i, k]
        row = sd[k]
        for j in range(n):
            chi2[j] += uk * row[j]
    s0 = ss[i]
    f0 = fs[i]
    for j in range(n):
        num = f0 + lam * fd[j]
        den = s0 + lam * (2.0 * chi2[j] + lam * dd[j])
        ok = (num > 0.0) and (den > 0.0)
        a = num / den if ok else 0.0
        scale[j] = a
        chi2[j] = total - a * num if ok else np.inf


@jit
def add_limits(i, stellar, luminosity, dust_t, limits, limit_flux, limit_error, scale, chi2):
    """Add the term of the upper limits to chi2 of the stellar model `i`.

    CIGALE's `noscaling` (after Sawicki 2012): the scale comes from the detections alone, and
    chi2 grows by -2 ln P with P the probability of a flux below the limit.
    """
    for c in range(limits.size):
        b = limits[c]
        row = dust_t[b]
        s = stellar[i, b]
        lam = luminosity[i]
        inverse = 1.0 / limit_error[c]
        for j in range(chi2.size):
            if chi2[j] < np.inf:
                x = (limit_flux[c] - scale[j] * (s + lam * row[j])) * inverse
                chi2[j] -= 2.0 * log_normal_cdf(x)


@jit
def screen(
    fs,
    ss,
    luminosity,
    u,
    fd,
    dd,
    sd,
    total,
    stellar,
    dust_t,
    limits,
    limit_flux,
    limit_error,
    factors,
    powers,
    want_log,
    w_sums,
    v0,
    v_sums,
    y,
    squares,
    best,
    best_index,
):
    """Add up every model of the grid, in two passes: the smallest chi2, then the weights.

    Parameters
    ----------
    fs, ss, luminosity : ndarray of shape (n_stellar,)
    u : ndarray of shape (n_stellar, rank)
    fd, dd : ndarray of shape (n_dust,)
    sd : ndarray of shape (rank, n_dust)
    total : float
        sum_b w f^2.
    factors : ndarray of shape (n_factor, n_stellar)
        Stellar factors g of products g[i] h[j]; the first is the luminosity.
    powers : ndarray of int, shape (n_factor,)
        Power of the scale of each factor.
    w_sums : ndarray of shape (4, n_stellar)
        Sums over dust models of w, w a, w a^2, w ln a.
    v0 : ndarray of shape (n_dust,)
        Sums over stellar models of w.
    v_sums : ndarray of shape (3, n_factor, n_dust)
        Sums over stellar models of w t, w t^2, w ln t, with t = a^power g.
    y : ndarray of shape (rank, n_dust)
        Sums over stellar models of w a^2 L U.
    squares : ndarray of shape (1 + n_factor,)
        Sums over all models of w (ln a)^2 and of w (ln t)^2 of each factor.
    best : ndarray of shape (2,)
        Smallest chi2 and its scale; overwritten.
    best_index : ndarray of int, shape (2,)
        The best stellar and dust model, -1 if there is none.
    """
    n_stellar = fs.size
    n_dust = fd.size
    scale = np.empty(n_dust)
    chi2 = np.empty(n_dust)
    best[0] = np.inf
    best[1] = 0.0
    best_index[:] = -1
    for i in range(n_stellar):
        row_scales(i, fs, ss, luminosity, u, fd, dd, sd, total, scale, chi2)
        if limits.size:
            add_limits(i, stellar, luminosity, dust_t, limits, limit_flux, limit_error, scale, chi2)
        for j in range(n_dust):
            if chi2[j] < best[0]:
                best[0] = chi2[j]
                best[1] = scale[j]
                best_index[0] = i
                best_index[1] = j
    if best_index[0] < 0:
        return
    for i in range(n_stellar):
        row_scales(i, fs, ss, luminosity, u, fd, dd, sd, total, scale, chi2)
        if limits.size:
            add_limits(i, stellar, luminosity, dust_t, limits, limit_flux, limit_error, scale, chi2)
        for j in range(n_dust):
            chi2[j] = math.exp(-0.5 * (chi2[j] - best[0]))
        accumulate(
            i,
            0,
            chi2,
            scale,
            u,
            luminosity,
            factors,
            powers,
            want_log,
            w_sums,
            v0,
            v_sums,
            y,
            squares,
        )


@jit
def accumulate(
    i,
    first,
    weight,
    scale,
    u,
    luminosity,
    factors,
    powers,
    want_log,
    w_sums,
    v0,
    v_sums,
    y,
    squares,
):
    """Add the weights of the stellar model `i` with a run of dust models to all sums.

    Parameters
    ----------
    first : int
        Position in `v0`, `v_sums` and `y` of the first dust model of the run.
    weight, scale : ndarray of shape (n,)
        Likelihood weights and scales of the run.
    """
    n = weight.size
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    for j in range(n):
        w = weight[j]
        a = scale[j]
        s0 += w
        s1 += w * a
        s2 += w * a * a
        v0[first + j] += w
    if s0 == 0.0:
        return
    w_sums[0, i] += s0
    w_sums[1, i] += s1
    w_sums[2, i] += s2
    for f in range(powers.size):
        g = factors[f, i]
        first_moment = v_sums[0, f]
        second_moment = v_sums[1, f]
        if powers[f] == 1:
            for j in range(n):
                t = scale[j] * g
                first_moment[first + j] += weight[j] * t
                second_moment[first + j] += weight[j] * t * t
        else:
            for j in range(n):
                first_moment[first + j] += weight[j] * g
                second_moment[first + j] += weight[j] * g * g
    lam = luminosity[i]
    for k in range(y.shape[0]):
        lu = lam * u[i, k]
        row = y[k]
        for j in range(n):
            row[first + j] += weight[j] * scale[j] * scale[j] * lu
    if want_log:
        s3 = 0.0
        for j in range(n):
            if weight[j] > 0.0:
                ln_a = math.log(scale[j])
                s3 += weight[j] * ln_a
                squares[0] += weight[j] * ln_a * ln_a
                for f in range(powers.size):
                    g = factors[f, i]
                    if g > 0.0:
                        ln_t = powers[f] * ln_a + math.log(g)
                        v_sums[2, f, first + j] += weight[j] * ln_t
                        squares[1 + f] += weight[j] * ln_t * ln_t
        w_sums[3, i] += s3
