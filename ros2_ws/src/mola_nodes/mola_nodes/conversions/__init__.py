"""The only place where messages become contract types and back.

Everything is checked on the way in and on the way out: rclpy does not check lengths, and a fixed-size array that was
assigned too few values sends what happens to lie in memory behind them.
"""
