"""Ten models of keras.applications with random weights: never tuned to.

Inputs are standard normal, so preprocessing that is part of the model is left out where that can be.
"""

from __future__ import annotations

from typing import Any

from keras import applications

from bench.zoo.architecture import Collection

zoo = Collection("keras")


@zoo.real(96, 96, 3, batch=8)
def resnet50() -> Any:
    """ResNet-50."""
    return applications.ResNet50(weights=None, input_shape=(96, 96, 3))


@zoo.real(96, 96, 3, batch=8)
def resnet50_v2() -> Any:
    """ResNet-50 v2."""
    return applications.ResNet50V2(weights=None, input_shape=(96, 96, 3))


@zoo.real(96, 96, 3, batch=8)
def mobilenet_v2() -> Any:
    """MobileNet v2."""
    return applications.MobileNetV2(weights=None, input_shape=(96, 96, 3))


@zoo.real(96, 96, 3, batch=8)
def mobilenet_v3_small() -> Any:
    """MobileNet v3, small."""
    return applications.MobileNetV3Small(
        weights=None, input_shape=(96, 96, 3), include_preprocessing=False
    )


@zoo.real(96, 96, 3, batch=8)
def densenet121() -> Any:
    """DenseNet-121."""
    return applications.DenseNet121(weights=None, input_shape=(96, 96, 3))


@zoo.real(96, 96, 3, batch=8)
def efficientnet_b0() -> Any:
    """EfficientNet-B0, its rescaling by 1/255 included."""
    return applications.EfficientNetB0(weights=None, input_shape=(96, 96, 3))


@zoo.real(96, 96, 3, batch=8)
def vgg16() -> Any:
    """VGG-16."""
    return applications.VGG16(weights=None, input_shape=(96, 96, 3))


@zoo.real(96, 96, 3, batch=8)
def xception() -> Any:
    """Xception."""
    return applications.Xception(weights=None, input_shape=(96, 96, 3))


@zoo.real(128, 128, 3, batch=8)
def inception_v3() -> Any:
    """Inception v3."""
    return applications.InceptionV3(weights=None, input_shape=(128, 128, 3))


@zoo.real(96, 96, 3, batch=8)
def convnext_tiny() -> Any:
    """ConvNeXt, tiny."""
    return applications.ConvNeXtTiny(
        weights=None, input_shape=(96, 96, 3), include_preprocessing=False
    )
