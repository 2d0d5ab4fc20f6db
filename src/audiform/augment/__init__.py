"""Augmentation: functions of tensors and an explicit generator."""
