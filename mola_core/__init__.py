"""MoLA (Mixture of Latent Actions) for real robots: contracts, control and, from them, everything else.

Nothing in this package imports rclpy.
"""
