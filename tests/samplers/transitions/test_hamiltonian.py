"""The integrator against the exact rotation, its reversibility, and the order of its error."""

import jax
import jax.numpy as jnp
import numpy as np

from stpbnn.samplers.transitions.hamiltonian import rotate_and_kick

RNG = np.random.default_rng(0)
z0, p0 = (jnp.asarray(RNG.normal(size=7)) for _ in range(2))


def trajectory(potential, angle, steps, z=z0, p=p0):
    gradient = jax.value_and_grad(potential)
    slope = gradient(z)[1]
    for _ in range(steps):
        z, p, value, slope = rotate_and_kick(gradient, jnp.asarray(angle), z, p, slope)
    return z, p, value


def quartic(z):
    return z @ z / 2 + jnp.sum(z**4) / 4


def test_the_prior_is_a_rotation():
    with jax.enable_x64(True):
        z, p = jnp.asarray(np.asarray(z0, float)), jnp.asarray(np.asarray(p0, float))
        end, momentum, _ = trajectory(lambda z: z @ z / 2, 0.7, 3, z, p)
        np.testing.assert_allclose(end, np.cos(2.1) * z + np.sin(2.1) * p, rtol=1e-12)
        np.testing.assert_allclose(momentum, np.cos(2.1) * p - np.sin(2.1) * z, rtol=1e-12)


def test_it_is_reversible_and_keeps_volume():
    with jax.enable_x64(True):
        z, p = jnp.asarray(np.asarray(z0, float)), jnp.asarray(np.asarray(p0, float))
        end, momentum, _ = trajectory(quartic, 0.2, 5, z, p)
        back, reversed_momentum, _ = trajectory(quartic, 0.2, 5, end, -momentum)
        np.testing.assert_allclose(back, z, rtol=1e-10)
        np.testing.assert_allclose(-reversed_momentum, p, rtol=1e-10)
        jacobian = jax.jacobian(lambda zp: jnp.concatenate(trajectory(quartic, 0.2, 2, zp[:7], zp[7:])[:2]))
        np.testing.assert_allclose(np.linalg.det(jacobian(jnp.concatenate([z, p]))), 1.0, rtol=1e-10)


def test_the_error_of_the_energy_is_of_second_order():
    with jax.enable_x64(True):
        z, p = jnp.asarray(np.asarray(z0, float)), jnp.asarray(np.asarray(p0, float))
        start = quartic(z) + p @ p / 2
        errors = []
        for steps in (64, 128):
            _, momentum, U = trajectory(quartic, 1.0 / steps, steps, z, p)
            errors.append(abs(U + momentum @ momentum / 2 - start))
        assert 3.5 < errors[0] / errors[1] < 4.5
