"""The scripted policy: the twin's expert behind the interface that a learned policy has."""
