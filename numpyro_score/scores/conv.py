"""`ConvNet`: a small U-Net for images of about 8x8 to 32x32 pixels.

Residual blocks of two 3x3 convolutions, each after group normalisation and SiLU, are shifted by
level and condition. Images are downsampled by 2 between the stages of the encoder and upsampled in
the decoder, with skip connections between stages of equal size (Ronneberger et al. 2015,
arXiv:1505.04597; with noise levels: Ho et al. 2020, arXiv:2006.11239). With `num_halvings=0` it is
a plain convolutional network.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.scores.features import Features
from numpyro_score.scores.mlp import check_event, near_zero
from numpyro_score.types import RngKey

GROUP = 8


class Conv(eqx.Module):
    """A zero-padded convolution as one matrix product.

    XLA's convolution on a CPU is many times slower inside a compiled loop, where training runs.
    """

    weight: Float[Array, "after patch"]
    bias: Float[Array, " after"]
    size: int = eqx.field(static=True)

    def __init__(self, before: int, after: int, size: int = 3, *, rng_key: RngKey):
        bound = (before * size**2) ** -0.5
        self.weight = jax.random.uniform(
            rng_key, (after, before * size**2), minval=-bound, maxval=bound
        )
        self.bias = jnp.zeros(after)
        self.size = size

    def __call__(
        self, image: Float[Array, "before height width"]
    ) -> Float[Array, "after height width"]:
        """Output image of the same height and width."""
        _, height, width = image.shape
        border = self.size // 2
        padded = jnp.pad(image, ((0, 0), (border, border), (border, border)))
        shifts = [
            padded[:, i : i + height, j : j + width]
            for i in range(self.size)
            for j in range(self.size)
        ]
        patches = jnp.concatenate(shifts).reshape(-1, height * width)
        out = self.weight @ patches + self.bias[:, None]
        return out.reshape(-1, height, width)


class Block(eqx.Module):
    """Residual block of two convolutions with a shift by level and condition between them."""

    norms: tuple[eqx.nn.GroupNorm, eqx.nn.GroupNorm]
    convs: tuple[Conv, Conv]
    shift: eqx.nn.Linear
    skip: Conv | None

    def __init__(self, before: int, after: int, features: int, *, rng_key: RngKey):
        keys = jax.random.split(rng_key, 4)
        self.norms = (
            eqx.nn.GroupNorm(before // GROUP, before),
            eqx.nn.GroupNorm(after // GROUP, after),
        )
        self.convs = (
            Conv(before, after, rng_key=keys[0]),
            Conv(after, after, rng_key=keys[1]),
        )
        self.shift = eqx.nn.Linear(features, after, key=keys[2])
        self.skip = None if before == after else Conv(before, after, 1, rng_key=keys[3])

    def __call__(
        self, image: Float[Array, "before height width"], features: Float[Array, " features"]
    ) -> Float[Array, "after height width"]:
        """Output image of the same height and width."""
        hidden = self.convs[0](jax.nn.silu(self.norms[0](image)))
        hidden = hidden + self.shift(features)[:, None, None]
        hidden = self.convs[1](jax.nn.silu(self.norms[1](hidden)))
        return hidden + (image if self.skip is None else self.skip(image))


def halve(image: Float[Array, "channels height width"]) -> Float[Array, "channels _h _w"]:
    """Downsampling by 2: means of 2x2 pixels."""
    channels, height, width = image.shape
    return image.reshape(channels, height // 2, 2, width // 2, 2).mean((2, 4))


def double(image: Float[Array, "channels height width"]) -> Float[Array, "channels _h _w"]:
    """Upsampling by 2: each pixel repeated 2x2 times."""
    return jnp.repeat(jnp.repeat(image, 2, axis=1), 2, axis=2)


@final
class ConvNet(eqx.Module):
    """A U-Net for small images.

    Parameters
    ----------
    shape
        `(channels, height, width)` of one image.
    width
        Channels of the first stage, a multiple of 8; each later stage has twice as many.
    num_halvings
        How often images are downsampled by 2; height and width must be divisible.
    y_dim
        Length of the condition, 0 for none.
    rng_key
        For the initial weights; the last layer starts near 0.

    Raises
    ------
    ValueError
        The sizes do not allow it; when called, the image or condition has another shape.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> network = ConvNet((1, 8, 8), width=8, rng_key=jax.random.key(0))
    >>> jax.eval_shape(network, jnp.ones((1, 8, 8)), jnp.array(0.5)).shape
    (1, 8, 8)
    """

    first: Conv
    embed: eqx.nn.Linear
    down: tuple[Block, ...]
    middle: Block
    up: tuple[Block, ...]
    norm: eqx.nn.GroupNorm
    last: Conv
    features: Features
    shape: tuple[int, int, int] = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int = 32,
        num_halvings: int = 1,
        y_dim: int = 0,
        *,
        rng_key: RngKey,
    ):
        self.shape = shape
        channels, *sides = shape
        check_whole("channels", channels)
        check_whole("width", width)
        if width % GROUP:
            raise ValueError(f"width is {width} but must be a multiple of {GROUP}")
        if num_halvings < 0 or any(side < 1 or side % 2**num_halvings for side in sides):
            raise ValueError(
                f"images of {sides[0]} x {sides[1]} pixels cannot be halved {num_halvings} times; "
                "give num_halvings that both sides allow"
            )
        self.features = Features(y_dim)
        size = 4 * width
        key_first, key_embed, key_middle, key_last, *keys = jax.random.split(
            rng_key, 4 + 2 * num_halvings
        )
        self.first = Conv(channels, width, rng_key=key_first)
        self.embed = eqx.nn.Linear(self.features.size, size, key=key_embed)
        widths = [width * 2**stage for stage in range(num_halvings + 1)]
        self.down = tuple(
            Block(before, after, size, rng_key=key)
            for before, after, key in zip(
                [width, *widths[:-1]], widths[:-1], keys[:num_halvings], strict=False
            )
        )
        last = widths[-2] if num_halvings else width
        self.middle = Block(last, widths[-1], size, rng_key=key_middle)
        self.up = tuple(
            Block(after + before, before, size, rng_key=key)
            for after, before, key in zip(
                widths[:0:-1], widths[-2::-1], keys[num_halvings:], strict=True
            )
        )
        self.norm = eqx.nn.GroupNorm(width // GROUP, width)
        self.last = near_zero(Conv(width, channels, rng_key=key_last))

    def __call__(
        self,
        u: Float[Array, "channels height width"],
        level: Float[Array, ""],
        y: Float[Array, " condition"] | None = None,
    ) -> Float[Array, "channels height width"]:
        """Output of `u`'s shape."""
        check_event(u, self.shape)
        features = jax.nn.silu(self.embed(self.features(level, y)))
        hidden = self.first(u)
        seen = []
        for block in self.down:
            hidden = block(hidden, features)
            seen.append(hidden)
            hidden = halve(hidden)
        hidden = self.middle(hidden, features)
        for block in self.up:
            hidden = block(jnp.concatenate([double(hidden), seen.pop()]), features)
        return self.last(jax.nn.silu(self.norm(hidden)))
