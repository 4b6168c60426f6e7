"""Churn and renewal prediction for companies that sell software by subscription to other companies."""
