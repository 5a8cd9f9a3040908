"""The optimizers, with every parameter that decides a result spelt out.

The notebook ran on Keras 2.3, whose defaults differ from Keras 3 and decide what is learnt: Adadelta had a learning
rate of 1.0 (now 0.001, which barely learns), Adagrad's accumulators began at 0 (now 0.1). The defaults here are
Keras 2.3's.
"""

from typing import Annotated, Literal

from pydantic import Field

from service.specs.base import Spec

LearningRate = Annotated[float, Field(gt=0, le=1000)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, le=1)]


class Adadelta(Spec):
    """Zeiler (2012), arXiv:1212.5701."""

    name: Literal["adadelta"] = "adadelta"
    learning_rate: LearningRate = 1.0
    rho: Decay = 0.95
    epsilon: Epsilon = 1e-7


class Adagrad(Spec):
    """Duchi, Hazan, Singer (2011), JMLR 12."""

    name: Literal["adagrad"] = "adagrad"
    learning_rate: LearningRate = 0.01
    initial_accumulator_value: float = Field(default=0.0, ge=0)
    epsilon: Epsilon = 1e-7


class Adam(Spec):
    """Kingma, Ba (2014), arXiv:1412.6980."""

    name: Literal["adam"] = "adam"
    learning_rate: LearningRate = 0.001
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Epsilon = 1e-7


class RMSprop(Spec):
    """Tieleman, Hinton (2012), Coursera lecture 6.5."""

    name: Literal["rmsprop"] = "rmsprop"
    learning_rate: LearningRate = 0.001
    rho: Decay = 0.9
    momentum: Decay = 0.0
    epsilon: Epsilon = 1e-7


class SGD(Spec):
    """Stochastic gradient descent, with optional (Nesterov) momentum."""

    name: Literal["sgd"] = "sgd"
    learning_rate: LearningRate = 0.01
    momentum: Decay = 0.0
    nesterov: bool = False


Optimizer = Annotated[Adadelta | Adagrad | Adam | RMSprop | SGD, Field(discriminator="name")]
