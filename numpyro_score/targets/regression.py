"""Bayesian logistic regression on the Wisconsin breast cancer data.

Data: Street, Wolberg and Mangasarian, Nuclear feature extraction for breast tumor diagnosis (1993),
as distributed with scikit-learn: 569 tumours, 30 measurements, malignant (0) or benign (1). The
measurements are strongly correlated, and so is the posterior.
"""

import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from numpyro_score.targets.base import ModelTarget
from numpyro_score.targets.expectation import reference_expectations

PRIOR_SD = 1.0

Matrix = Float[Array, "observation feature"] | Float[np.ndarray, "observation feature"]
Labels = Int[Array, " observation"] | Int[np.ndarray, " observation"]


def logistic_regression_model(x: Matrix, y: Labels | None = None) -> None:
    """Logistic regression: `intercept, beta_j ~ N(0, 1)`, `logit P(y = 1) = intercept + x beta`.

    Parameters
    ----------
    x
        covariates, `(observation, feature)`, standardised.
    y
        labels 0 or 1, `(observation,)`; None leaves them unobserved.

    Examples
    --------
    >>> import jax, numpy as np
    >>> from numpyro.infer import Predictive
    >>> draws = Predictive(logistic_regression_model, num_samples=3)(
    ...     jax.random.key(0), np.ones((5, 2))
    ... )
    >>> draws["beta"].shape, draws["y"].shape
    ((3, 2), (3, 5))
    """
    num_observations, num_features = x.shape
    intercept = numpyro.sample("intercept", dist.Normal(0.0, PRIOR_SD))
    with numpyro.plate("feature", num_features):
        beta = numpyro.sample("beta", dist.Normal(0.0, PRIOR_SD))
    logits = intercept + x @ beta
    with numpyro.plate("observation", num_observations):
        numpyro.sample("y", dist.Bernoulli(logits=logits), obs=y)


def breast_cancer_data() -> tuple[Float[np.ndarray, "569 30"], Int[np.ndarray, "569"]]:
    """The data: covariates with mean 0 and sd 1 (ddof 0) in each column, and labels.

    Examples
    --------
    >>> x, y = breast_cancer_data()
    >>> x.shape, int(y.sum())
    ((569, 30), 357)
    """
    from sklearn.datasets import (
        load_breast_cancer,
    )  # takes a second to import, and only this target needs it

    data = load_breast_cancer()
    return (data.data - data.data.mean(axis=0)) / data.data.std(axis=0), data.target


def breast_cancer() -> ModelTarget:
    """The posterior of a logistic regression on the breast cancer data, 31 dimensions.

    `intercept, beta_1 .. beta_30 ~ N(0, 1)`, `y ~ Bernoulli(logits = intercept + x beta)`, `x`
    standardised. The reference values come from a long NUTS run and have standard errors.

    Examples
    --------
    >>> target = breast_cancer()
    >>> target.dim, [(e.name, e.variable) for e in target.expectations][:2]
    (31, [('mean', 'intercept'), ('second_moment', 'intercept')])
    """
    x, y = breast_cancer_data()
    return ModelTarget(
        name="breast_cancer",
        description=(
            f"intercept, beta_j ~ N(0, sd {PRIOR_SD:g}), y ~ Bernoulli(logits = intercept + "
            "x beta), breast cancer data, 569 x 30, columns standardised (ddof 0)"
        ),
        model=logistic_regression_model,
        model_args=(x,),
        model_kwargs={"y": y},
        expectations=reference_expectations("breast_cancer"),
    )
